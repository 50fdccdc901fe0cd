"""Running networks on volumes of any size: devices, seeds, memory plans, patches, and the engine that joins them."""
