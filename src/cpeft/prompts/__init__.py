"""Soft prompts: values, files, initialisation. Needs torch, numpy and safetensors only."""
