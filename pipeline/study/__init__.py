"""The paper's two tables in the miniature world: `weaknesses` and `repair` compute them, `report` writes them down."""
