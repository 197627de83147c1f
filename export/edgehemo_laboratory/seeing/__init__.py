"""What people see of kiosks and their results: lists, sums, comparisons. No page is made here."""
