"""Speech engines as separate programs, and the pool that runs them.

Nothing is imported here: each worker is started as ``python -m salon.voice.workers.<name>`` and
must be up in a tenth of a second. The parent's side is in `pool` and `process`, the worker's in
`serving`, what both know in `frames`. The pipe protocol: docs/reference/speech-worker.md.
"""
