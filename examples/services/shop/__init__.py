"""A shop with two products, served over HTTP."""

PRODUCTS = {"tea": 4, "coffee": 5}


def price(basket):
    """The sum of a basket: product names and counts."""
    return sum(PRODUCTS[product] * count for product, count in basket.items())
