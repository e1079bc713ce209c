"""What every long command needs: file names, files that are written whole, progress, a safe terminal."""
