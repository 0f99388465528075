"""Answering over HTTP: any number of named soft prompts on one frozen model."""
