"""What people read, in their language: words, numbers, dates and units for pages and reports."""
