"""A classifier for people and programs: a page, one HTML file, a service. Nothing else imports it."""
