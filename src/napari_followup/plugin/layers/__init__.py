"""Between stacks and layers: geometry, reader, samples, what is shown."""
