"""What labels at the moment, and how another bundle takes its place without a restart."""
