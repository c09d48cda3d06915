"""What storage engines that speak SQL share."""
