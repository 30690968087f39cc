eager_mask = None
