-- Textual inversions and autoencoders are installed too.
ALTER TABLE models DROP CONSTRAINT models_kind_check,
    ADD CONSTRAINT models_kind_check CHECK (kind IN ('checkpoint', 'lora', 'controlnet', 'embedding', 'vae'));
