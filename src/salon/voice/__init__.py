"""Floor 5: the audio pipeline, recognition, synthesis, turns."""
