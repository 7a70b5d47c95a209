"""The paper's ablation: its plan, its trials, tables and figures."""
