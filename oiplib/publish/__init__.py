"""What people see: figures, notebooks, pages, the site, exports, Datasette."""
