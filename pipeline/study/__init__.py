"""The paper's two tables in the miniature world: `reproduction` computes them, `report` writes them down."""
