"""Raw records to batches: encoders (one modality a file), sources (one dataset a file), collate and loaders."""
