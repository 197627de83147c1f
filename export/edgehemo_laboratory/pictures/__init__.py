"""Pictures that kiosks sent: each under its digest, made once and never changed."""
