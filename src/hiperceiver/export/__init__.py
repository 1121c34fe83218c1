"""Trained models for other runtimes, ONNX and torch.export, checked against PyTorch, with their preprocessing."""

from hiperceiver.export.check import Check, check
from hiperceiver.export.formats import export_onnx, export_torch
from hiperceiver.export.preprocessing import card, preprocessing
from hiperceiver.export.program import WHATS, ExportModule, trace

__all__ = ["WHATS", "Check", "ExportModule", "card", "check", "export_onnx", "export_torch", "preprocessing", "trace"]
