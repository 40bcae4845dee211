"""What plugin authors inherit to test their components."""
