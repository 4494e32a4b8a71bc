"""Whether a livestream has a ladder of smaller pictures.

Revision 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("livestream", sa.Column("ladder", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("livestream", "ladder")
