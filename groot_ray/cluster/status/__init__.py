"""`groot-ray cluster status`: each stage with its Job, pods and progress."""
