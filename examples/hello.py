"""The smallest agent. Run it: salon dev examples/hello.py"""

import salon


@salon.agent
async def hello(turn, room):
    if "bye" in turn.text.lower():
        yield "Goodbye!"
    else:
        yield f"Hello {turn.name or 'there'}. "
        yield f"You said: {turn.text}"
