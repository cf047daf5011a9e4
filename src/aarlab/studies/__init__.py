"""Questions about the lab itself, answered by simulation on real tasks (`aarlab study`)."""
