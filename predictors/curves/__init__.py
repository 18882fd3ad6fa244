"""Models of learning curves: a training's last figure is predicted from its first ones."""
