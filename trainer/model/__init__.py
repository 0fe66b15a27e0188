"""The model: one graph that scores cars, and how it is learned from healthy ones.

domain       what is known of the signals: judged or not, operating point, ratios, components
coordinates  signals and their ratios, standardised in the graph
state        what the graph keeps of a car between two samples, and its averaging window
constants    regression, limits and norm, fitted to training cars (robust: statistics for it)
network      what the linear regression misses
graph        all of it as one TensorFlow graph, exported to TFLite (rows: its array layout)
replay       the exported graph over the past of many cars
learning     training rows → constants → network → graph: start here
directions   where in the state a fault of each component goes
"""
