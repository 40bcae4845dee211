"""From YAML to a plan: load with positions, resolve, look names up, check how the stages fit together."""
