"""Schemas of the avatar session protocol (chapter 3) and the modules generated from them."""
