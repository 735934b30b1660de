"""Other published predictors of binding sites, behind the same protocol as Seq2Pocket."""
