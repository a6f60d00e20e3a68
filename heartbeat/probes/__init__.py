"""Questions in protocols of others, put by ourselves: is it there, does it answer, is the answer right."""
