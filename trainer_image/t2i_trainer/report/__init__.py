"""The report page of a run: what lies in its bucket, as one HTML file that a person opens there or from a disk."""
