"""What a potential takes and gives: graphs, edges, batches, and errors against labels."""
