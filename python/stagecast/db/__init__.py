"""The database: tables, migrations, and units of work that commit once."""
