"""Pictures of what models learned and of what they look at: numbers first, and a drawing of them."""
