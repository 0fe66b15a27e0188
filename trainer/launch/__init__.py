"""`trainer launch`: one training as a Kubernetes Job (command), read through the API (api, job_state)."""
