"""The families of encoders that can be adopted.

Each is here because `tests/training/test_adopt_families.py` compares its bundle with transformers, text by text.
"""

#: `model_type` of a configuration, and what people call the family.
FAMILIES = {
    "distilbert": "DistilBERT",
    "bert": "BERT",
    "roberta": "RoBERTa",
    "xlm-roberta": "XLM-RoBERTa",
    "camembert": "CamemBERT",
    "electra": "ELECTRA",
    "mpnet": "MPNet",
    "deberta-v2": "DeBERTa-v2 and v3",
    "modernbert": "ModernBERT",
}


def supported() -> str:
    """All families, for people."""
    *others, last = FAMILIES.values()
    return f"{', '.join(others)} and {last}"
