"""ROC curves and AUCs of all scores, and the paired tests."""
