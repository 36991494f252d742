"""What runs an author's files and reports to hm. Not for authors."""
