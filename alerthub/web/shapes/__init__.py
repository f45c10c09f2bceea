"""What the API answers and what it is asked, as models: the OpenAPI document is made from them, and the tests hold every answer
against them. A field that is not here is not answered."""
