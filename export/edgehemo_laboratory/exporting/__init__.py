"""Results leave the laboratory: as a table (CSV, Parquet) or for other systems (FHIR)."""
