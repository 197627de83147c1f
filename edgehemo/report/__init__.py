"""What a screening leaves behind: result.json, report.html and the annotated fields."""
