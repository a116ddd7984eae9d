"""What a finished run leaves behind: its result, and the images, predictions and maps that reports show."""
