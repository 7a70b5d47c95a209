"""Parts of a training that come from elsewhere: networks and losses of other people, weights of ImageNet."""
