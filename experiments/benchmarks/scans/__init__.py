"""Public kinds of recurrent code, each with the scan it runs by as an argument."""
