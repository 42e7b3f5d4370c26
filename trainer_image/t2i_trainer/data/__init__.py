"""What a training sample is: which picture, which caption, which noise; all of it a pure function of the seed."""
