"""Key policies as code: templates, evaluator, prover, lint, roll-over."""
