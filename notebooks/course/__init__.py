"""Code of the notebooks, which recipes and studies use too: pictures, exercises, and the training of the four further systems."""
