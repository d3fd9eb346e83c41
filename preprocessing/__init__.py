"""One runnable file per dataset: raw recordings in, prepared trials out."""
