"""The agent's side: appraise, ask, verify."""
