"""What `train_embedded_models.py` is made of: corpus, sequences, model, training, measuring."""
